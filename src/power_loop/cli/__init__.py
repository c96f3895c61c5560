"""The command line. Knows the face and what sessions look like to a person; keeps no state of its own."""
