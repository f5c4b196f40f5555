"""Reads a bundle's payload with in-toto-attestation, as an in-toto Statement v1.

usage: statement.py PAYLOAD

Exit 0: accepted. Exit 8: refused, with the reason. Anything else: something else broke.
"""

import sys

from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement


def main(payload_path: str) -> int:
    with open(payload_path, "rb") as file:
        payload = file.read()
    try:
        message = json_format.Parse(payload, statement_pb2.Statement())
        Statement.copy_from_pb(message).validate()
    except (json_format.ParseError, UnicodeDecodeError, ValueError) as error:
        print(f"refused: {error}")
        return 8
    print(f"accepted: {message.predicate_type} of {len(message.subject)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
