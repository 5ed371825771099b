"""Make Python see 32 cores, for `tests/e2e/memory_test.sh`: a small machine then behaves like a large one."""

import os

os.sched_getaffinity = lambda pid: set(range(32))  # type: ignore[assignment, misc]
