"""The embedded miniature Internet Archive: archives that are made, and a server that answers as archive.org does."""
