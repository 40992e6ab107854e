"""Run the gateway; `migrate` brings its schema up to date."""

from grace_common.runtime.service import main

from grace_gateway.main import build

main(build)
