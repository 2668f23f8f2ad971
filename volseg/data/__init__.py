"""Finding, reading and preparing cases, and the way back to their grid."""
