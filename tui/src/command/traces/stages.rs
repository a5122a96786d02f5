//! Where the time of samples goes: a table of the stages of each topic at each endpoint, with bars.

use std::fmt::Write as _;

use roverline_protocol::api::traces::{StageTimes, TopicStages, TopicStagesList, TraceList};

use crate::cli::traces::TracesArgs;
use crate::command::Failure;
use crate::command::coordination::{CoordinationClient, escape};
use crate::command::print::{complain, print, print_json, print_table, print_text};
use crate::format;
use crate::waterfall::duration;

/// Columns of the longest bar.
const BAR_COLUMNS: usize = 32;
const HEAD: [&str; 7] = ["TOPIC", "ENDPOINT", "SAMPLES", "MEDIAN", "P99", "LONGEST", "SLOWEST TRACE"];

/// Prints the stages of one topic, or a line for each topic.
pub(super) async fn show(team: &mut CoordinationClient, args: &TracesArgs) -> Result<(), Failure> {
    let query = args.topic.as_ref().map(|topic| format!("?topic={}", escape(topic))).unwrap_or_default();
    let list: TopicStagesList = team.get(&format!("/api/v2/traces/topics{query}")).await?;
    if args.json {
        return print_json(&list);
    }
    match &args.topic {
        _ if list.topics.is_empty() => {
            print("no sample was traced yet: a topic's samples are while somebody subscribes to it")?;
        }
        Some(topic) => {
            for stages in &list.topics {
                print_text(&table(stages))?;
            }
            let newest: TraceList = team.get(&format!("/api/v2/traces{query}&limit=1")).await?;
            if let Some(trace) = newest.traces.first() {
                let topic = format::printable(topic);
                print(&format!("the newest sample of {topic}: roverline traces {}", trace.trace_id))?;
            }
        }
        None => print_table(&HEAD, &list.topics.iter().map(row).collect::<Vec<_>>())?,
    }
    for tier in &list.unreachable {
        complain(format_args!("the {tier} endpoint did not answer: samples of it are missing"));
    }
    Ok(())
}

fn row(stages: &TopicStages) -> Vec<String> {
    let time = |of: fn(&StageTimes) -> u64| {
        stages.end_to_end.as_ref().map_or("-".to_owned(), |times| duration(of(times)))
    };
    vec![
        stages.topic.clone(),
        stages.service.clone(),
        stages.samples.to_string(),
        time(|times| times.median_ns),
        time(|times| times.p99_ns),
        time(|times| times.max_ns),
        stages.slowest_trace_id.get(..8).unwrap_or_default().to_owned(),
    ]
}

/// The stages of a topic at one endpoint.
fn table(stages: &TopicStages) -> String {
    let mut out = String::new();
    let (topic, service) = (format::printable(&stages.topic), format::printable(&stages.service));
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{topic} at {service}: {} traced samples", stages.samples);
    let _ = writeln!(out, "  {:10} {:>7} {:>10} {:>10} {:>10}", "STAGE", "COUNT", "MEDIAN", "P99", "LONGEST");
    let longest = stages.stages.iter().map(|stage| stage.times.median_ns).max().unwrap_or(0).max(1);
    for stage in &stages.stages {
        let bar = u128::from(stage.times.median_ns) * BAR_COLUMNS as u128 / u128::from(longest);
        let line = line(stage.stage.name(), &stage.times);
        let _ = writeln!(out, "{}", format!("{line}  {}", "#".repeat(bar as usize)).trim_end());
    }
    if let Some(whole) = &stages.end_to_end {
        let _ = writeln!(out, "{}", line("end to end", whole));
    }
    if let Some(error_ns) = stages.clock_error_ns {
        let _ = writeln!(out, "  network: the clocks' offset is known to within {}", duration(error_ns));
    }
    out
}

fn line(name: &str, times: &StageTimes) -> String {
    let StageTimes { count, median_ns, p99_ns, max_ns } = *times;
    format!(
        "  {name:10} {count:>7} {:>10} {:>10} {:>10}",
        duration(median_ns),
        duration(p99_ns),
        duration(max_ns)
    )
}

#[cfg(test)]
mod tests {
    use roverline_protocol::api::traces::{SampleStage, StageDocument};

    use super::*;

    #[test]
    fn the_stages_of_a_topic_are_a_table() {
        let times =
            |us: u64| StageTimes { count: 60, median_ns: us * 1_000, p99_ns: us * 2_000, max_ns: us * 9_000 };
        let stages = [
            (SampleStage::Publish, 120),
            (SampleStage::Ingress, 4),
            (SampleStage::Socket, 25),
            (SampleStage::Network, 900),
            (SampleStage::Draw, 8_000),
        ];
        let text = table(&TopicStages {
            topic: "/imu/\u{1b}data".to_owned(),
            service: "primary".to_owned(),
            samples: 60,
            stages: stages.map(|(stage, us)| StageDocument { stage, times: times(us) }).to_vec(),
            end_to_end: Some(times(9_049)),
            clock_error_ns: Some(250_000),
            newest_trace_id: String::new(),
            slowest_trace_id: String::new(),
        });
        insta::assert_snapshot!(text);
    }
}
