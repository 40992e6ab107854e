"""Run the audit-log; `migrate` brings its schema up to date, `export DIR` writes the log's static files to a folder,
`key rotate` makes the key that shall succeed the log's, `key backup` seals its keys to the root.
"""

import sys

from grace_common.runtime.service import main

from grace_audit_log.main import build, command

if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(command(sys.argv[1:]))
    main(build)
