"""The platform in containers: how images are built and started; ``docker-compose.yml`` puts them together."""
