# tests of the daemon, whole
