# shellcheck shell=bash
# Names and addresses inside the box. The node's is one of documentation's (RFC 5737): nothing outside has it, and
# the box has no uplink to reach it by.
readonly NODE=smi-node NODE_IP=192.0.2.10 NODE_PREFIX=24
readonly POD_CIDR=10.244.0.0/24 SERVICE_CIDR=10.96.0.0/16 API_SERVICE_IP=10.96.0.1 DNS_IP=10.96.0.10
