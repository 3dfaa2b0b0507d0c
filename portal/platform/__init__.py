"""Pages for who runs the installation: operators, licences, sign-ups, and what operators ask."""

from flask import Flask

from portal.platform import acting, operators, views


def install(app: Flask) -> None:
    assert operators.blueprint is views.blueprint is acting.blueprint
    app.register_blueprint(views.blueprint)
