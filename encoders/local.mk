# encoders/: see README.md
