//! TLS as libp2p has it (`/tls/1.0.0`), with AES first where the processor has instructions for it.
//!
//! Differs from crate `libp2p-tls`, whose certificates it uses and whose peers it talks to, in two things that were measured
//! (`benches/transport.rs`): the crate asks for ChaCha20 first, which costs three times as much as AES in hardware, and
//! reads and writes sockets in pieces of a few kilobytes.

use std::io;
use std::iter;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use futures::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::PeerId;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

/// Bytes that are read from a socket at once, and collected before they are encrypted: four records of TLS.
const BUFFER: usize = 64 << 10;

/// An encrypted connection.
pub type Encrypted<C> = BufWriter<TlsStream<BufReader<C>>>;

/// Both ends of the handshake, with this peer's certificate.
#[derive(Clone)]
pub struct Upgrade {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Upgrade {
    /// For the peer with this key.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn new(key: &Keypair) -> io::Result<Self> {
        let stock = libp2p::tls::make_client_config(key, None).map_err(io::Error::other)?;
        let provider = CryptoProvider::clone(stock.crypto_provider());
        let verifier = Arc::new(Libp2pCertificate(provider.clone()));
        let mut client = ClientConfig::builder_with_provider(Arc::new(hardware_first(provider)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::clone(&stock.client_auth_cert_resolver));
        client.alpn_protocols = stock.alpn_protocols;
        let server = libp2p::tls::make_server_config(key).map_err(io::Error::other)?;
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/tls/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Upgrade {
    type Output = (PeerId, Encrypted<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        let accept = async move {
            let socket = BufReader::with_capacity(BUFFER, socket);
            finish(TlsAcceptor::from(self.server).accept(socket).await?.into())
        };
        accept.boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = (PeerId, Encrypted<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        let connect = async move {
            let socket = BufReader::with_capacity(BUFFER, socket);
            // The specification wants no server name to be sent; an address is how rustls is told so.
            let nobody = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            finish(TlsConnector::from(self.client).connect(nobody, socket).await?.into())
        };
        connect.boxed()
    }
}

/// The connection, with the peer whose certificate the handshake has proved.
fn finish<C>(stream: TlsStream<BufReader<C>>) -> io::Result<(PeerId, Encrypted<C>)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let Some([presented]) = stream.get_ref().1.peer_certificates() else {
        return Err(io::Error::other("the peer did not present exactly one certificate"));
    };
    let peer = certificate::parse(presented).map_err(io::Error::other)?.peer_id();
    Ok((peer, BufWriter::with_capacity(BUFFER, stream)))
}

/// `provider` with AES before ChaCha20 where AES is a processor's instruction. The dialling side's order decides.
fn hardware_first(mut provider: CryptoProvider) -> CryptoProvider {
    if has_aes() {
        let order = |suite: CipherSuite| match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
            _ => 2,
        };
        provider.cipher_suites.sort_by_key(|suite| order(suite.suite()));
    }
    provider
}

fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has = false;
    has
}

/// Checks what [libp2p's specification](https://github.com/libp2p/specs/blob/master/tls/tls.md) asks of a certificate: there
/// is one, it signed itself, and the key of the peer signed its key. Who the peer is is compared after the handshake.
#[derive(Debug)]
struct Libp2pCertificate(CryptoProvider);

impl ServerCertVerifier for Libp2pCertificate {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !others.is_empty() {
            return Err(rustls::Error::General("more than one certificate".into()));
        }
        certificate::parse(presented).map_err(|_| CertificateError::BadEncoding)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Only TLS 1.3 is ever agreed on.
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let certificate = certificate::parse(presented).map_err(|_| CertificateError::BadEncoding)?;
        let verified = certificate.verify_signature(signed.scheme, message, signed.signature());
        verified.map_err(|_| CertificateError::BadSignature)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
