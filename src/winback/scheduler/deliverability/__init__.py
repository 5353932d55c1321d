"""What receivers of our letters see of us: the mail server's line, and the DNS records that say who we are.

`examine` puts it together for `winback doctor smtp`; `names` asks the DNS; `spf`, `dkim` and `dmarc` read one record each,
`hosts` looks at mail to the domain and at reverse DNS.
"""

from winback.scheduler.deliverability.examine import Examination, examine_smtp
from winback.scheduler.deliverability.finding import Finding
from winback.scheduler.deliverability.names import Names

__all__ = ["Examination", "Finding", "Names", "examine_smtp"]
