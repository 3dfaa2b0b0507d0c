"""What gunicorn serves: `portal.wsgi:app`."""

from core.log import configure_logging
from core.settings import read_settings
from portal import create_app

settings = read_settings()
configure_logging("portal", settings.log_level)
app = create_app(settings)
