#!/usr/bin/env python3
"""A collector for OTLP over HTTP with OpenTelemetry's own messages: prints its port, then a line for each span.

    otlp_collector.py [CERT KEY]

With a certificate it speaks TLS. It exits when its standard input ends.
"""

import http.server
import json
import ssl
import sys
import threading

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def attributes(pairs):
    """The value of each attribute, with its type: `int_value`, `string_value`."""
    kinds = {pair.key: pair.value.WhichOneof("value") for pair in pairs}
    return {pair.key: {kinds[pair.key]: getattr(pair.value, kinds[pair.key])} for pair in pairs}


def spans(request):
    for group in request.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                yield {
                    "resource": attributes(group.resource.attributes),
                    "scope": [scope.scope.name, scope.scope.version],
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex() or None,
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "start_ns": span.start_time_unix_nano,
                    "duration_ns": span.end_time_unix_nano - span.start_time_unix_nano,
                    "status": MessageToDict(span.status),
                    "attributes": attributes(span.attributes),
                }


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        head = {
            "path": self.path,
            "content_type": self.headers["Content-Type"],
            "team": self.headers["X-Team"],
        }
        for span in spans(request):
            print(json.dumps({**head, **span}), flush=True)
        response = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    if sys.argv[1:]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*sys.argv[1:])
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    sys.exit(main())
