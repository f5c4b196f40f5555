module smi-conformance.local/cluster/pause

go 1.24.0
