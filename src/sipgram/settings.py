"""Every setting: its name, type, unit, bounds and meaning, in one frozen tree.

``server/configuration.py`` fills it from sipgram.toml, the environment and the command line.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

AuthMode = Literal["digest", "none"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the server is and where it listens."""

    domains: tuple[str, ...] = ("localhost",)
    "Domains whose users live here; the first is the default domain."
    listen: tuple[str, ...] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    "Listeners, each TRANSPORT:HOST:PORT; an IPv6 host in brackets."
    http: str = "127.0.0.1:8080"
    "Where HTTP is served, HOST:PORT, or none."
    data: str = "sipgram-data"
    "Folder of everything that is kept."
    database: str = ""
    "SQLAlchemy URL; empty for SQLite in the data folder."
    node: str = "n1"
    "Two letters or digits that name this node among its peers."
    log_format: Literal["console", "json"] = "console"
    "How log lines are written, to standard error."
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    "Least level that is logged."
    drain_s: float = 6.0
    "Longest time that SIGTERM leaves for open requests; who is still open then gets 480."


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Who must prove who they are, and how."""

    mode: AuthMode = "digest"
    "none believes every From; refused on listeners that are not loopback."
    insecure_open: bool = False
    "Allow mode none on any listener."
    algorithms: tuple[Literal["MD5", "SHA-256"], ...] = ("MD5",)
    "Digest algorithms offered, in order; many phones fail when there are two."
    nonce_s: float = 300.0
    "Seconds that a nonce is good for; then a challenge says stale=true."
    trust: tuple[str, ...] = ()
    "Addresses or networks of peers that need no digest."


@dataclass(frozen=True, slots=True)
class RegistrarSettings:
    """How long and how many bindings are kept."""

    expires_s: int = 3600
    "Granted when the phone asks for nothing."
    expires_min_s: int = 60
    "A shorter wish, but 0, gets 423."
    expires_max_s: int = 7200
    "The longest that is granted."
    bindings_per_aor_max: int = 10
    "Contacts of one AoR; when one more comes the oldest goes."
    bindings_max: int = 1_000_000
    "Contacts in all; beyond that new ones get 500."
    service_routes: tuple[str, ...] = ()
    "SIP URIs with ;lr that registered phones are to send their requests by (RFC 3608); none by default."
    flow_timer_s: int = 120
    "Told to Outbound phones: a flow without a keep-alive for so long may be dropped."
    spread: bool = True
    "Grant up to 10 % less above 600 s, so that refreshes do not come all at once."


@dataclass(frozen=True, slots=True)
class MessagingSettings:
    """How a MESSAGE is relayed."""

    answer_s: float = 5.0
    "The sender hears something after this many seconds at the latest; 1 to 20."
    fork_s: float = 0.1
    "How long other devices may take once one has answered 2xx."
    body_bytes_max: int = 65_000
    "A larger body gets 513."
    stored_messages_max: int = 1_000_000
    "Messages that wait for devices in all; beyond that 480."
    inbox_messages_max: int = 20_000
    "Messages that wait for one account and that no device has taken; beyond that 480."
    inbox_bytes_max: int = 67_108_864
    "Octets of these; beyond that 480."
    devices_max: int = 500_000
    "Devices that are away and waited for, in all; one more is not."
    drains_max: int = 500
    "Devices that get what waited for them at one time; others wait for their turn."
    push_quiet_s: float = 30.0
    "A device that was woken and has not come is woken again by a message after this long, not before."
    record_s: float = 604_800.0
    "How long it is remembered what became of a message, without its body."


@dataclass(frozen=True, slots=True)
class PushSettings:
    """Waking phones by their push services (RFC 8599)."""

    file: str = ""
    "TOML file that names the push services and their credentials; empty: nobody is woken."
    queue_max: int = 10_000
    "Wake-ups that are not told yet; one more is dropped."
    at_once: int = 8
    "Wake-ups that are being told at one time."
    attempts_max: int = 4
    "A push service that has a passing fault is told so often."
    retry_s: float = 2.0
    "After the first attempt; each further wait is four times as long."
    timeout_s: float = 10.0
    "How long a push service may take to answer."


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Whose messages are kept with their bodies once all devices have them; nobody's by default."""

    domains: tuple[str, ...] = ()
    "Domains whose accounts have a history of what they send and get."
    accounts: tuple[str, ...] = ()
    "Single accounts likewise, as alice@example.com."
    days: float = 30.0
    "How long after its receipt a message stays in a history."


@dataclass(frozen=True, slots=True)
class ListSettings:
    """One MESSAGE to many recipients (RFC 5365)."""

    user: str = "lists"
    "The service is sip:USER@ every domain served; empty for none. An account or contact of that name comes first."
    recipients_max: int = 100
    "Recipients of one MESSAGE; a longer list gets 403."
    consent: Literal["given", "asked"] = "given"
    "Whether accounts that say nothing else (sipgram user lists) get messages that were sent to lists."


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How long phones ring."""

    timer_c_s: float = 185.0
    "A phone that rings is given up this long after its last provisional answer; RFC 3261 asks for more than 180."
    group_s: float = 20.0
    "How long contacts of one q ring before those of the next are tried."


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Subscriptions and publications."""

    expires_s: int = 3600
    "Granted to a SUBSCRIBE that asks for nothing."
    publish_expires_s: int = 3600
    "Granted to a PUBLISH that asks for nothing."
    expires_min_s: int = 60
    "A shorter wish, but 0, gets 423."
    expires_max_s: int = 7200
    "The longest that is granted."
    subscriptions_max: int = 200_000
    "Subscriptions in all; beyond that 480."
    subscriptions_per_watcher_max: int = 2_000
    "Subscriptions of one watcher; beyond that 403."
    watchers_max: int = 20_000
    "Subscriptions to one AoR's package; beyond that 480."
    publications_max: int = 200_000
    "Publications in all; beyond that 480."
    publications_per_aor_max: int = 16
    "Publications of one AoR's package; when one more comes the oldest goes."
    publication_bytes_max: int = 32_768
    "A larger published document gets 413."


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """Who may see whose presence when no rules say so."""

    same_domain: Literal["allow", "confirm", "block"] = "allow"
    "For authenticated watchers of the same domain: shown at once, only once confirmed, or refused."
    others: Literal["allow", "confirm", "block"] = "confirm"
    "For all other watchers."


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Limits of sockets and connections."""

    connections_max: int = 20_000
    "Stream connections at one time; one more is closed at once."
    connections_per_source_max: int = 2_000
    "Of these from one address, loopback aside."
    half_message_s: float = 10.0
    "How long a message that has begun on a stream may take to arrive."
    write_bytes_max: int = 1_048_576
    "Bytes waiting for a peer that does not read; beyond that it is cut off."
    write_stall_s: float = 20.0
    "How long a peer may not read before it is cut off."
    keep_alive_s: float = 25.0
    "Each UDP phone behind NAT gets a datagram of 4 octets this often, so that the NAT remembers it; 0 for none."
    stream_ping_s: float = 120.0
    "A connection that is silent this long is pinged by TCP; without answers it is dead a quarter of it later. 0 for no ping."
    stream_idle_s: float = 900.0
    "A connection that holds no binding and no dialog is closed after so long a silence."
    datagram_queue_max: int = 4_096
    "Datagrams waiting for a full socket buffer; beyond that the newest is dropped."
    socket_buffer_bytes: int = 4_194_304
    "Receive and send buffer asked of the system for each UDP socket."


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """SIP over WebSocket, on listeners of its own and at /sip of the HTTP port."""

    origins: tuple[str, ...] = ()
    "Origins of web pages that may connect, as https://www.example.net, besides pages of the served domains and of the listeners' own addresses; * for any, null for pages from files."
    ping_s: float = 30.0
    "A connection that is silent this long is pinged, and is dead after two without an answer; 0 for no ping."
    handshakes_max: int = 1_000
    "Connections that have not asked to be a WebSocket yet; one more is closed at once."
    inflate_bytes_max: int = 262_144
    "A deflated body is made plain for a WebSocket up to this size; a larger one goes as it came."


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The operator's own Python code, asked about each message."""

    path: str = ""
    "MODULE:OBJECT or FILE.py:OBJECT, a sipgram.policy.Policy; empty for none."
    timeout_s: float = 1.0
    "How long an answer is waited for."
    on_failure: Literal["open", "closed"] = "open"
    "What an error or a hang means: open lets the message pass, closed answers 500 with Retry-After."
    running_max: int = 2_000
    "Questions under way at one time, those included that did not heed their end; one more is a failure."


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Certificates, and who must show one."""

    cert: tuple[str, ...] = ()
    "Certificate chains, PEM files; the first is shown when a peer names no host of another. Empty: one is made."
    key: tuple[str, ...] = ()
    "The private keys of these certificates, in the same order; not encrypted."
    ca: str = ""
    "PEM file of the authorities that certificates of peers must come from; empty for the system's."
    client_cert: Literal["none", "optional", "required"] = "none"
    "Whether those who connect are asked for a certificate; one that is shown must be valid."
    handshake_s: float = 10.0
    "How long a TLS handshake may take."
    handshakes_max: int = 256
    "TLS handshakes under way at one time; more wait to be accepted."


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The HTTP API: who may ask how much."""

    origins: tuple[str, ...] = ()
    "Origins of web pages, besides our own, that may use the API, as https://www.example.com."
    key_in_query: bool = False
    "Allow a key as ?key=… too; it then stands in logs and histories."
    per_minute: int = 200_000
    "Requests of one key or account in a minute, unless the key says otherwise; beyond that 429."
    wrong_keys_per_minute: int = 30
    "Wrong keys and passwords from one address in a minute; beyond that 429."
    body_bytes_max: int = 2_097_152
    "A larger request gets 413."
    batch_bytes_max: int = 67_108_864
    "The same for a batch."
    recipients_max: int = 1_000
    "Recipients of one message."
    batch_messages_max: int = 100_000
    "Messages of one batch."
    outbox_max: int = 200_000
    "Messages accepted by HTTP that wait for their turn; beyond that 503."
    sending_max: int = 500
    "Messages of them that are on their way to devices at one time."
    send_at_max_s: float = 31_536_000.0
    "How far ahead a message may be scheduled."
    record_s: float = 604_800.0
    "How long it is remembered what became of a message that came by HTTP."
    events_s: float = 2_592_000.0
    "How long the events of an account with a listener are kept for those who come later."
    listeners_max: int = 100_000
    "Accounts with a listener."
    streams_max: int = 2_000
    "Event streams open at one time; one more gets 503."
    stream_events_max: int = 1_000
    "Events that wait for one stream; one that reads no faster is closed, and may resume."
    idempotency_s: float = 86_400.0
    "How long an Idempotency-Key, or the id of GET /send, is remembered."


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """How webhooks are told."""

    allow_private: bool = False
    "Allow URLs that lead into private networks or to this machine."
    timeout_s: float = 10.0
    "How long a receiver may take."
    retry_s: float = 5.0
    "After the first failure; doubled each time, up to an hour."
    give_up_s: float = 86_400.0
    "An event that was not heard for so long goes to the dead ones, from where it can be sent again."
    at_once: int = 32
    "Deliveries under way at one time."
    queue_max: int = 100_000
    "Events that wait to be told; beyond that a message for such a webhook is kept back, and others' events are lost."
    per_account_max: int = 10
    "Webhooks of one account."


@dataclass(frozen=True, slots=True)
class Trunk:
    """A peer that takes what is not for us: another exchange, a provider."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    "What it is called in logs."
    hosts: tuple[str, ...] = ()
    "Its servers, HOST or HOST:PORT, ;transport=tcp or tls if wished; one is tried after the other. A name is looked up by RFC 3263."
    addresses: tuple[str, ...] = ()
    "Addresses or networks that its requests come from; they need no digest."
    certificates: tuple[str, ...] = ()
    "SIP domains, one of which the certificate that it shows is for; needs no digest either."
    numbers: tuple[str, ...] = ()
    "Beginnings of the numbers that go there, as +49 or 00; of several trunks the longest counts."
    domains: tuple[str, ...] = ()
    "Domains that go there."
    may_relay: bool = False
    "Whether its own requests may go on to trunks and other domains, not only to accounts here."


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """What goes to others, and how they are found."""

    trunks: tuple[Trunk, ...] = ()
    "Peers for calls and messages to numbers and domains that are not ours: tables `[[routing.trunks]]` in the file."
    federation: bool = False
    "Whether accounts here and users of other domains may reach each other, over TLS with certificates on both sides."
    federation_domains: tuple[str, ...] = ()
    "The domains to do that with; empty for all."
    hop_s: float = 3.0
    "How long a server may be silent while there is another one to try."
    connect_s: float = 2.0
    "How long a connection to a server may take to open."
    connections_max: int = 1_000
    "Connections that we open to other servers; beyond that an idle one is closed, or none is opened."
    nameservers: tuple[str, ...] = ()
    "Name servers, ADDRESS or ADDRESS:PORT; empty for the system's."


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What an account or an address may do before it is refused."""

    on_loopback: bool = False
    "Whether all of this counts for programs of this machine, too."
    messages_per_minute: int = 600
    "MESSAGE requests of one account, so many at once or spread over a minute; 0 for any number, as below."
    invites_per_minute: int = 60
    "INVITE requests of one account that begin a call."
    registers_per_minute: int = 60
    "REGISTER requests of one account that have the right password."
    wrong_passwords: int = 10
    "Wrong passwords for one account from one address, after which none is looked at for a while; ten times as many for one address or one account, where the other is not known."
    wrong_passwords_s: float = 600.0
    "How long until so many wrong passwords are forgotten."
    blocked: tuple[str, ...] = ()
    "Addresses or networks whose requests get no answer."
    blocked_agents: tuple[str, ...] = (
        "friendly-scanner",
        "sipvicious",
        "sipcli",
        "pplsip",
        "sip-scan",
        "sundayddr",
        "iWar",
    )
    "Parts of the User-Agent of scanners, which get no challenge."


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree, a section a field."""

    server: ServerSettings = field(default_factory=ServerSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    registrar: RegistrarSettings = field(default_factory=RegistrarSettings)
    messaging: MessagingSettings = field(default_factory=MessagingSettings)
    push: PushSettings = field(default_factory=PushSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    lists: ListSettings = field(default_factory=ListSettings)
    calls: CallSettings = field(default_factory=CallSettings)
    events: EventSettings = field(default_factory=EventSettings)
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    websocket: WebSocketSettings = field(default_factory=WebSocketSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
