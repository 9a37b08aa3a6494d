"""What `pool` starts: `python -m mtlsweep.processes FD LANES`."""

import sys

from mtlsweep.processes.worker import work

if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))
