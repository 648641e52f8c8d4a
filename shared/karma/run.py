"""`python -m karma.run SERVICE`, the former name of `python -m karma SERVICE`; it goes with the next version."""

import sys

from karma.worker.run import main

if __name__ == "__main__":
    print(
        "karma: `python -m karma.run` is now `python -m karma`; the old name goes with the next version",
        file=sys.stderr,
    )
    main()
