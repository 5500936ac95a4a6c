"""Policy files: read with line numbers, compile, decide, explain. Pure: nothing here does I/O but `load`."""
