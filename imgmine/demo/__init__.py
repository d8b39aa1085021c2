"""The embedded miniature Internet Archive: a generator of archives in the format of the Imgur collection, and a server for them.

    from imgmine.demo.archives import make_archives
    from imgmine.demo.photographs import reference_photographs
"""
