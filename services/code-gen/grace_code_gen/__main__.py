"""Run the service."""

from grace_common.runtime.service import main

from grace_code_gen.main import build

if __name__ == "__main__":
    main(build)
