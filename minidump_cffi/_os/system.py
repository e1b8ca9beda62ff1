"""The one place that chooses what asks the system about processes: /proc, or Windows."""

import sys

if sys.platform == "win32":
    from .windows import check_consumer, open_handle, pid_of_fd, process_handle, program_of, start_time
else:
    from .linux import check_consumer, open_handle, pid_of_fd, process_handle, program_of, start_time

__all__ = ["check_consumer", "open_handle", "pid_of_fd", "process_handle", "program_of", "start_time"]
