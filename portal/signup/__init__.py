"""Sign-up: pages for an ISP that has no account yet."""

from flask import Flask

from portal.signup import views


def install(app: Flask) -> None:
    app.register_blueprint(views.blueprint)
