"""Run the crypto-signer; `init`, `issue SERVICE --out DIR`, `rotate` and `migrate` are commands of deployment."""

import sys

from grace_common.runtime.service import main

from grace_crypto_signer.main import build, command

if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(command(sys.argv[1:]))
    main(build)
