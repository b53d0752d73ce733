// Verifies a bundle over a file offline with npm's @sigstore/verify: NODE_MODULES ROOT BUNDLE FILE, and for a bundle that was
// signed with a key the key (base64, SPKI) in place of a root's logs and authorities.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, rootFile, bundleFile, file, key] = process.argv.slice(2);
const require = createRequire(modules + "/");
const { bundleFromJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const root = TrustedRoot.fromJSON(JSON.parse(readFileSync(rootFile)));
const bundle = bundleFromJSON(JSON.parse(readFileSync(bundleFile)));
const keys = () => ({ publicKey: createPublic(key), validFor: () => true });
const createPublic = (spki) => require("node:crypto").createPublicKey({ key: Buffer.from(spki, "base64"), format: "der", type: "spki" });
const none = key ? { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 } : {};
new Verifier(toTrustMaterial(root, keys), none).verify(toSignedEntity(bundle));

const statement = JSON.parse(bundle.content.dsseEnvelope.payload);
const digest = createHash("sha256").update(readFileSync(file)).digest("hex");
if (statement.subject.length !== 1 || statement.subject[0].digest.sha256 !== digest) throw new Error("another file");
console.log("verified", statement.predicate.name, statement.predicate.version);
