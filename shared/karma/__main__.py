"""`python -m karma SERVICE [NAMES]`: one worker, or the page. See `karma.worker.run`."""

from karma.worker.run import main

main()
