// Verifies a completed bundle with @sigstore/verify: signature, log entry, checkpoint and path.
//
// usage: node sigstore.mjs BUNDLE TRUSTED_ROOT PUBLIC_KEY_PEM
//
// Exit 0: accepted. Exit 8: refused, with the reason. Anything else: something else broke.

import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { bundleFromJSON, ValidationError } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { PolicyError, toSignedEntity, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify';

const [bundlePath, rootPath, keyPath] = process.argv.slice(2);
const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
const document = json(bundlePath);
const root = TrustedRoot.fromJSON(json(rootPath));
const rawBytes = createPublicKey(readFileSync(keyPath)).export({ format: 'der', type: 'spki' });

try {
  const bundle = bundleFromJSON(document);
  const { hint } = bundle.verificationMaterial.content.publicKey;
  const trusted = toTrustMaterial(root, { [hint]: { rawBytes, keyDetails: 'PKIX_ED25519' } });
  const thresholds = { tlogThreshold: 1, ctlogThreshold: 0, timestampThreshold: 0 };
  new Verifier(trusted, thresholds).verify(toSignedEntity(bundle));
  console.log(`accepted: ${hint}`);
} catch (error) {
  if (![ValidationError, VerificationError, PolicyError].some((kind) => error instanceof kind)) throw error;
  console.log(`refused: ${error.code ?? error.name}: ${error.message}`);
  process.exitCode = 8;
}
