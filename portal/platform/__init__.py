"""Pages for who runs the installation: operators, licences, sign-ups, and what operators ask."""

from flask import Flask

from portal.platform import acting, operators, views

AREAS = (acting, operators, views)  # they put their routes on one blueprint


def install(app: Flask) -> None:
    app.register_blueprint(views.blueprint)
