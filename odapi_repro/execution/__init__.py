"""Where trials run and are kept: the store, the worker process, the executors."""
