"""Reads the body of an OTLP request (gzip, protobuf) from the standard input, prints a JSON line for each sample."""

import gzip
import json
import sys

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

request = ExportMetricsServiceRequest()
request.ParseFromString(gzip.decompress(sys.stdin.buffer.read()))
for resource in request.resource_metrics:
    about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            kind = metric.WhichOneof("data")
            data = getattr(metric, kind)
            for point in data.data_points:
                assert point.time_unix_nano >= point.start_time_unix_nano > 0, point
                line = {"name": metric.name, "kind": kind, "unit": metric.unit, "of": about["service.instance.id"]}
                line["labels"] = {pair.key: pair.value.string_value for pair in point.attributes}
                if kind == "histogram":
                    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1, point
                    assert sum(point.bucket_counts) == point.count, point
                    line["value"] = point.count
                else:
                    line["value"] = getattr(point, point.WhichOneof("value"))
                if kind == "sum":
                    assert data.is_monotonic and data.aggregation_temporality == 2, metric
                print(json.dumps(line))
