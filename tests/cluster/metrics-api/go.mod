module smi-conformance.local/cluster/metrics-api

go 1.24.0
