// A node on Fast DDS, in the conventions of rmw_fastrtps, for the tests of the DDS source.
//
//   fastdds_node --domain 42 --seconds 30 --burst 1000
//
// Publishes /fast/count (std_msgs/msg/String, a number every 20 ms, before that --burst at once) and once, latched, /fast/latched. Serves
// /fast/trigger (std_srvs/srv/Trigger). Prints a line of JSON for every message on /to_fast (String) and, when it
// ends, for what it has seen. Ends with its input, or after --seconds. Commands on its input:
//
//   call NAME     waits until the service NAME (std_srvs/srv/Trigger) is ready, calls it, and prints how long that took
//
// Messages are CDR with its four bytes of encapsulation; Fast DDS passes them on as they are.

#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/subscriber/DataReader.hpp>
#include <fastdds/dds/subscriber/SampleInfo.hpp>
#include <fastdds/dds/subscriber/Subscriber.hpp>
#include <fastdds/dds/topic/TopicDataType.hpp>
#include <fastdds/dds/topic/TypeSupport.hpp>
#include <fastdds/rtps/common/WriteParams.h>
#include <fastdds/rtps/transport/UDPv4TransportDescriptor.h>
#include <fastrtps/utils/IPLocator.h>

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace fast = eprosima::fastdds::dds;
namespace rtps = eprosima::fastrtps::rtps;

using Bytes = std::vector<unsigned char>;
using Clock = std::chrono::steady_clock;

constexpr auto STEP = std::chrono::milliseconds(20);
constexpr auto READY_TIMEOUT = std::chrono::seconds(10);
constexpr auto REPLY_TIMEOUT = std::chrono::seconds(10);

// A type whose samples are bytes.
struct BytesType : fast::TopicDataType {
  explicit BytesType(const std::string& name) {
    setName(name.c_str());
    m_typeSize = 1 << 20;
    m_isGetKeyDefined = false;
  }
  bool serialize(void* data, rtps::SerializedPayload_t* payload) override {
    const Bytes& bytes = *static_cast<Bytes*>(data);
    if (payload->max_size < bytes.size())
      return false;
    memcpy(payload->data, bytes.data(), bytes.size());
    payload->length = bytes.size();
    payload->encapsulation = CDR_LE;
    return true;
  }
  bool deserialize(rtps::SerializedPayload_t* payload, void* data) override {
    static_cast<Bytes*>(data)->assign(payload->data, payload->data + payload->length);
    return true;
  }
  std::function<uint32_t()> getSerializedSizeProvider(void* data) override {
    return [data] { return static_cast<uint32_t>(static_cast<Bytes*>(data)->size()); };
  }
  void* createData() override { return new Bytes; }
  void deleteData(void* data) override { delete static_cast<Bytes*>(data); }
  bool getKey(void*, rtps::InstanceHandle_t*, bool) override { return false; }
};

// The CDR of a std_msgs/msg/String.
static Bytes text(const std::string& value) {
  Bytes bytes{0, 1, 0, 0};
  const uint32_t length = value.size() + 1;
  for (int shift = 0; shift < 32; shift += 8)
    bytes.push_back(length >> shift);
  bytes.insert(bytes.end(), value.begin(), value.end());
  do
    bytes.push_back(0);
  while (bytes.size() % 4 != 0);
  return bytes;
}

class Node {
 public:
  Node(int domain) {
    fast::DomainParticipantQos qos;
    qos.name("fastdds_node");
    // Loopback only, where multicast does not work: participants are contacted one by one.
    auto loopback = std::make_shared<eprosima::fastdds::rtps::UDPv4TransportDescriptor>();
    loopback->interfaceWhiteList.push_back("127.0.0.1");
    loopback->maxInitialPeersRange = 30;
    qos.transport().use_builtin_transports = false;
    qos.transport().user_transports.push_back(loopback);
    rtps::Locator_t peer;
    rtps::IPLocator::setIPv4(peer, 127, 0, 0, 1);
    qos.wire_protocol().builtin.initialPeersList.push_back(peer);
    participant_ = fast::DomainParticipantFactory::get_instance()->create_participant(domain, qos);
    publisher_ = participant_->create_publisher(fast::PUBLISHER_QOS_DEFAULT);
    subscriber_ = participant_->create_subscriber(fast::SUBSCRIBER_QOS_DEFAULT);
  }
  ~Node() {
    participant_->delete_contained_entities();
    fast::DomainParticipantFactory::get_instance()->delete_participant(participant_);
  }

  fast::DataWriter* writer(const std::string& topic, const std::string& type, bool latched = false) {
    fast::DataWriterQos qos = fast::DATAWRITER_QOS_DEFAULT;
    qos.reliability().kind = fast::RELIABLE_RELIABILITY_QOS;
    qos.history().depth = 10;
    qos.durability().kind = latched ? fast::TRANSIENT_LOCAL_DURABILITY_QOS : fast::VOLATILE_DURABILITY_QOS;
    qos.endpoint().history_memory_policy = rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
    return publisher_->create_datawriter(opened(topic, type), qos);
  }
  fast::DataReader* reader(const std::string& topic, const std::string& type) {
    fast::DataReaderQos qos = fast::DATAREADER_QOS_DEFAULT;
    qos.reliability().kind = fast::RELIABLE_RELIABILITY_QOS;
    qos.history().depth = 10;
    qos.endpoint().history_memory_policy = rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
    return subscriber_->create_datareader(opened(topic, type), qos);
  }

 private:
  fast::Topic* opened(const std::string& topic, const std::string& type) {
    fast::TypeSupport(new BytesType(type)).register_type(participant_);
    if (auto* known = participant_->lookup_topicdescription(topic))
      return dynamic_cast<fast::Topic*>(known);
    return participant_->create_topic(topic, type, fast::TOPIC_QOS_DEFAULT);
  }

  fast::DomainParticipant* participant_;
  fast::Publisher* publisher_;
  fast::Subscriber* subscriber_;
};

static bool take(fast::DataReader* reader, Bytes& bytes, fast::SampleInfo& info) {
  while (reader->take_next_sample(&bytes, &info) == ReturnCode_t::RETCODE_OK)
    if (info.valid_data)
      return true;
  return false;
}

static const std::string TRIGGER = "std_srvs::srv::dds_::Trigger";

// Whether a reply is to the request `own`. As in rmw_fastrtps, the server may name the request's writer or the reader
// of the reply.
static bool answers(const rtps::SampleIdentity& related, const rtps::SampleIdentity& own, const rtps::GUID_t& reader) {
  const bool ours = related.writer_guid() == own.writer_guid() || related.writer_guid() == reader;
  return ours && related.sequence_number() == own.sequence_number();
}

// A client of one service. rmw_fastrtps calls a service ready once both of its endpoints are matched.
static void call(Node& node, const std::string& name) {
  auto* requests = node.writer("rq" + name + "Request", TRIGGER + "_Request_");
  auto* replies = node.reader("rr" + name + "Reply", TRIGGER + "_Response_");
  const auto start = Clock::now();
  const auto ms = [](Clock::duration time) {
    return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
  };
  fast::PublicationMatchedStatus out;
  fast::SubscriptionMatchedStatus in;
  bool ready = false;
  while (!ready && Clock::now() - start < READY_TIMEOUT) {
    requests->get_publication_matched_status(out);
    replies->get_subscription_matched_status(in);
    ready = out.current_count > 0 && in.current_count > 0;
    usleep(ready ? 0 : 1000);
  }
  const auto asked = Clock::now();
  Bytes request{0, 1, 0, 0, 0, 0, 0, 0}, reply;
  rtps::WriteParams parameters;
  parameters.related_sample_identity().writer_guid() = replies->guid();
  bool answered = false;
  if (ready && requests->write(&request, parameters)) {
    fast::SampleInfo info;
    while (!answered && Clock::now() - asked < REPLY_TIMEOUT) {
      usleep(1000);
      answered = take(replies, reply, info)
                 && answers(info.related_sample_identity, parameters.sample_identity(), replies->guid());
    }
  }
  printf("{\"service\": \"%s\", \"ready\": %s, \"ready_ms\": %ld, \"answered\": %s, \"answer_ms\": %ld, \"bytes\": %zu}\n",
         name.c_str(), ready ? "true" : "false", ms(asked - start), answered ? "true" : "false",
         ms(Clock::now() - asked), reply.size());
}

// The next command; false at the end of the input.
static bool read_command(std::string& command) {
  command.clear();
  pollfd input{0, POLLIN, 0};
  if (poll(&input, 1, 0) <= 0)
    return true;
  char byte;
  while (read(0, &byte, 1) == 1) {
    if (byte == '\n')
      return true;
    command.push_back(byte);
  }
  return false;
}

int main(int count, char** arguments) {
  int domain = 0, seconds = 30;
  long burst = 0;
  for (int at = 1; at + 1 < count; at += 2) {
    if (strcmp(arguments[at], "--domain") == 0)
      domain = atoi(arguments[at + 1]);
    if (strcmp(arguments[at], "--seconds") == 0)
      seconds = atoi(arguments[at + 1]);
    if (strcmp(arguments[at], "--burst") == 0)
      burst = atol(arguments[at + 1]);
  }
  setvbuf(stdout, nullptr, _IOLBF, 0);
  Node node(domain);
  const std::string string_type = "std_msgs::msg::dds_::String_";
  auto* numbers = node.writer("rt/fast/count", string_type);
  auto* latched = node.writer("rt/fast/latched", string_type, true);
  auto* received = node.reader("rt/to_fast", string_type);
  auto* requests = node.reader("rq/fast/triggerRequest", TRIGGER + "_Request_");
  auto* replies = node.writer("rr/fast/triggerReply", TRIGGER + "_Response_");
  Bytes once = text("kept");
  latched->write(&once);
  long sent = 0, asked = 0;
  std::string command;
  Bytes bytes;
  fast::SampleInfo info;
  for (; sent < burst; sent++) {
    Bytes number = text(std::to_string(sent));
    numbers->write(&number);
  }
  if (burst > 0)
    printf("{\"burst\": %ld}\n", burst);
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  while (Clock::now() < end && read_command(command)) {
    if (command.rfind("call ", 0) == 0)
      call(node, command.substr(5));
    Bytes number = text(std::to_string(sent));
    if (numbers->write(&number))
      sent++;
    while (take(received, bytes, info))
      if (bytes.size() > 8)
        printf("{\"received\": \"%s\"}\n", reinterpret_cast<const char*>(bytes.data()) + 8);
    while (take(requests, bytes, info)) {
      asked++;
      Bytes answer{0, 1, 0, 0, 1, 0, 0, 0};
      const Bytes message = text("from Fast DDS");
      answer.insert(answer.end(), message.begin() + 4, message.end());
      rtps::WriteParams parameters;
      parameters.related_sample_identity() = info.sample_identity;
      replies->write(&answer, parameters);
    }
    usleep(std::chrono::microseconds(STEP).count());
  }
  printf("{\"sent\": %ld, \"asked\": %ld}\n", sent, asked);
}
