# fusion/: see README.md
