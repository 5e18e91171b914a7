# media/: see README.md
