# pipeline/: see README.md
