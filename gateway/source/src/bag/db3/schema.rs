//! Reads the tables beside `messages`. Their columns have grown over the years, so each is optional.

use std::collections::HashMap;
use std::sync::Arc;

use roverline_protocol::MessageEncoding;
use rusqlite::{Connection, Row};

use crate::SchemaText;
use crate::bag::qos;
use crate::bag::recording::{Channel, full_type_name};

/// Maximum number of topics in one file.
const TOPICS: i64 = 65_536;

/// Whether the file has rosbag2's tables. Views of the same name do not count: they could compute
/// anything.
pub(super) fn is_rosbag2(connection: &Connection) -> rusqlite::Result<bool> {
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('topics', 'messages')";
    connection.query_row(tables, [], |row| row.get(0)).map(|n: i64| n == 2)
}

/// Whether SQLite can return rows in time order without sorting the whole table.
pub(super) fn has_time_index(connection: &Connection) -> rusqlite::Result<bool> {
    let plan = "EXPLAIN QUERY PLAN SELECT id FROM messages ORDER BY timestamp, id";
    let mut statement = connection.prepare(plan)?;
    let steps = statement.query_map([], |row| row.get::<_, String>(3))?.collect::<Result<Vec<_>, _>>()?;
    Ok(!steps.iter().any(|step| step.contains("TEMP B-TREE")))
}

/// The topics, ordered by id.
pub(super) fn channels(connection: &Connection) -> rusqlite::Result<Vec<Channel>> {
    let definitions = definitions(connection)?;
    // The first releases of rosbag2 had no QoS column.
    let profiles = match has_column(connection, "topics", "offered_qos_profiles")? {
        true => "offered_qos_profiles",
        false => "''",
    };
    let sql = format!(
        "SELECT id, name, type, serialization_format, {profiles} FROM topics ORDER BY id LIMIT {TOPICS}"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let (topic, recorded, format) = (text(row, 1), text(row, 2), text(row, 3));
        let type_name = full_type_name(recorded.clone());
        let unusable = (format != "cdr").then(|| format!("its messages are `{format}`, not cdr"));
        let encoding = MessageEncoding::Cdr;
        Ok(Channel {
            id: row.get(0)?,
            qos: qos::offered(&topic, &text(row, 4)),
            latching_publishers: qos::latching_publishers(&topic, &text(row, 4)),
            history_depth: qos::history_depth(&topic, &text(row, 4)),
            encoding,
            schema: definitions.get(&recorded).cloned(),
            topic,
            type_name,
            unusable,
        })
    })?;
    rows.collect()
}

/// Message definitions by type; recorders store them since ROS 2 Iron.
fn definitions(connection: &Connection) -> rusqlite::Result<HashMap<String, SchemaText>> {
    if !has_column(connection, "message_definitions", "encoded_message_definition")? {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions LIMIT {TOPICS}"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| Ok((text(row, 0), text(row, 1), text(row, 2))))?;
    let mut found = HashMap::new();
    for row in rows {
        let (type_name, encoding, text) = row?;
        if matches!(encoding.as_str(), "ros2msg" | "ros2idl") && !text.trim().is_empty() {
            found.insert(type_name, SchemaText { encoding, text: Arc::from(text) });
        }
    }
    Ok(found)
}

fn has_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    connection.query_row(sql, [table, column], |row| row.get(0)).map(|n: i64| n > 0)
}

/// A column's text; empty for any other value, NULL included.
fn text(row: &Row<'_>, column: usize) -> String {
    row.get_ref(column).ok().and_then(|value| value.as_str().ok()).unwrap_or_default().to_owned()
}
