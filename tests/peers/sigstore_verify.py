"""Verifies a bundle over a file offline with sigstore-python: ROOT BUNDLE FILE ISSUER SUBJECT."""

import hashlib
import json
import sys
from pathlib import Path

from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy

root, bundle, file, issuer, subject = sys.argv[1:]
verifier = Verifier(trusted_root=TrustedRoot.from_file(root))
kind, payload = verifier.verify_dsse(
    Bundle.from_json(Path(bundle).read_bytes()), policy.Identity(identity=subject, issuer=issuer)
)
assert kind == "application/vnd.in-toto+json", kind
statement = json.loads(payload)
digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
assert [s["digest"]["sha256"] for s in statement["subject"]] == [digest], "another file"
print("verified", statement["predicate"]["name"], statement["predicate"]["version"])
