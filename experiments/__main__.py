"""`python -m jaxrl.experiments` is the command `jaxrl`."""

import sys

from jaxrl.experiments.cli import main

sys.exit(main())
