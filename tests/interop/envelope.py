"""Verifies a bundle's DSSE envelope with securesystemslib and its statement with in-toto-attestation.

usage: envelope.py BUNDLE PUBLIC_KEY_PEM

Exit 0: accepted. Exit 8: securesystemslib refused the signature. Anything else: something else broke.
"""

import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey


def main(bundle_path: str, key_path: str) -> int:
    with open(bundle_path, encoding="utf-8") as file:
        bundle = json.load(file)
    with open(key_path, "rb") as file:
        key = SSlibKey.from_crypto(load_pem_public_key(file.read()))
    envelope = Envelope.from_dict(bundle["dsseEnvelope"])
    try:
        accepted = envelope.verify([key], threshold=1)
    except VerificationError as error:
        print(f"refused: {error}")
        return 8
    hint = bundle["verificationMaterial"]["publicKey"]["hint"]
    if set(accepted) != {hint}:
        print(f"accepted under {set(accepted)}, and the hint is {hint}")
        return 1
    message = json_format.Parse(envelope.payload, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    print(f"accepted: {hint}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
