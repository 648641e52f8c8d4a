"""`python -m karma.run SERVICE [NAMES]`: one worker, or the page, without the command line's packages."""

from karma.worker.run import main

if __name__ == "__main__":
    main()
