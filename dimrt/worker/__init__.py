"""dimrt in a process of its own, for programs that embed it: messages over stdin and stdout."""
