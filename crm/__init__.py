"""The ISP's records: subscribers and their services, with every change audited."""
