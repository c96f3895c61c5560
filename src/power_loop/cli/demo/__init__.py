"""The demo: a session killed with SIGKILL in the middle and finished by another process, counted and checked."""
