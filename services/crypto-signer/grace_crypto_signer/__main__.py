"""Run the crypto-signer; `init`, `issue`, `rotate` and `migrate` are commands of deployment."""

import sys

if __name__ == "__main__":
    if sys.argv[1:]:
        from grace_crypto_signer.commands import command

        sys.exit(command(sys.argv[1:]))
    # Imported only here: the broker's library costs a command half of its time.
    from grace_common.runtime.service import main

    from grace_crypto_signer.main import build

    main(build)
