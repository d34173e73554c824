"""Pre-training a teacher, distilling a student, fitting a head."""
