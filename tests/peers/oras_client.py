"""Pulls and pushes with oras-py: `pull TARGET OUTDIR`, `push TARGET WASM CONFIG BUNDLE`, `referrers TARGET`."""

import hashlib
import json
import sys

import oras.client
import oras.oci

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def raw(client, target, accept):
    """A manifest's own bytes."""
    container = client.get_container(target)
    url = f"{client.prefix}://{container.manifest_url()}"
    answer = client.do_request(url, "GET", headers={"Accept": accept})
    answer.raise_for_status()
    return answer.content


def descriptor(data, **more):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return {"mediaType": MANIFEST, "digest": digest, "size": len(data), **more}


def main():
    what, target, *rest = sys.argv[1:]
    client = oras.client.OrasClient(insecure=True)
    repository = target.rsplit(":", 1)[0]
    if what == "pull":
        print(json.dumps(client.pull(target=target, outdir=rest[0])))
    elif what == "referrers":
        subject = descriptor(raw(client, target, MANIFEST))["digest"]
        index = json.loads(raw(client, f"{repository}:{subject.replace(':', '-')}", INDEX))
        print(json.dumps(index["manifests"]))
    elif what == "push":
        wasm, config, bundle = rest
        client.push(
            target=target,
            files=[f"{wasm}:application/wasm"],
            manifest_config=f"{config}:application/vnd.wasm.config.v0+json",
            disable_path_validation=True,
        )
        subject = descriptor(raw(client, target, MANIFEST))
        client.push(
            target=f"{repository}:signature",
            files=[f"{bundle}:{BUNDLE}"],
            manifest_config=f"{config}:{BUNDLE}",
            disable_path_validation=True,
            subject=oras.oci.Subject(MANIFEST, subject["digest"], subject["size"]),
        )
        referrer = descriptor(raw(client, f"{repository}:signature", MANIFEST), artifactType=BUNDLE)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [referrer]}
        container = client.get_container(f"{repository}:{subject['digest'].replace(':', '-')}")
        url = f"{client.prefix}://{container.manifest_url()}"
        answer = client.do_request(url, "PUT", headers={"Content-Type": INDEX}, data=json.dumps(index))
        answer.raise_for_status()


main()
