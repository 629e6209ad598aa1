#!/bin/sh
# Makes the certificates of the tests anew, with OpenSSL 3: run it in this folder, commit what it
# makes. Keys of authorities are thrown away: nobody can make others. Those of servers and clients
# that the tests play are kept. All but one are valid from 2020 to 2120.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$1.key" 2> /dev/null; }

# An authority's own books.
books() {
    : > "$work/$1.index"
    cat > "$work/$1.cnf" <<CNF
[ca]
default_ca = it
[it]
database = $work/$1.index
new_certs_dir = $work
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
crl_extensions = crl
[any]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
CNF
}

# name, common name, issuer (or itself), extensions, end
certificate() {
    key "$1"
    printf '%s\n' "$4" > "$work/ext"
    openssl req -new -key "$work/$1.key" -subj "/CN=$2" -out "$work/csr"
    books "$1"
    if [ "$1" = "$3" ]; then signer="-selfsign"; else signer="-cert $3.pem"; fi
    # shellcheck disable=SC2086
    openssl ca -batch -config "$work/$3.cnf" $signer -keyfile "$work/$3.key" -in "$work/csr" \
        -extfile "$work/ext" -startdate 20200101000000Z -enddate "${5:-21200101000000Z}" \
        -notext -out "$1.pem" 2> "$work/log" || { cat "$work/log"; exit 1; }
}

ca='basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash'
leaf='basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature'
client="$leaf
extendedKeyUsage=clientAuth"
orders='URI:spiffe://example.org/ns/shop/sa/orders'

certificate root Root root "$ca"
certificate stranger Root stranger "$ca"
certificate issuing Issuing root "$ca"
certificate orders orders issuing "$client
subjectAltName=$orders"
certificate plain plain issuing "$client
subjectAltName=DNS:plain.example"
certificate revoked revoked issuing "$client
subjectAltName=$orders"
certificate expired expired issuing "$client
subjectAltName=$orders" 20200102000000Z
certificate server server issuing "$leaf
extendedKeyUsage=serverAuth
subjectAltName=$orders"
certificate any-use any-use issuing "$leaf
subjectAltName=$orders"
certificate two-names two-names issuing "$client
subjectAltName=$orders,URI:spiffe://example.org/admin"
certificate other-domain other-domain issuing "$client
subjectAltName=URI:spiffe://example.com/ns/shop/sa/orders"
certificate bad-path bad-path issuing "$client
subjectAltName=URI:spiffe://example.org/ns/../sa/orders"
certificate authority authority issuing "$ca
extendedKeyUsage=clientAuth
subjectAltName=$orders"
certificate by-stranger orders stranger "$client
subjectAltName=$orders"
certificate by-leaf orders orders "$client
subjectAltName=$orders"

certificate https localhost issuing "$leaf
extendedKeyUsage=serverAuth
subjectAltName=IP:127.0.0.1,DNS:localhost"
certificate https-new localhost issuing "$leaf
extendedKeyUsage=serverAuth
subjectAltName=IP:127.0.0.1,DNS:localhost"
for name in https https-new orders plain revoked expired server two-names other-domain by-stranger; do
    openssl pkcs8 -topk8 -nocrypt -in "$work/$name.key" -out "$name.key"
done

# Lists of what was revoked: of the root (nothing), and of the issuing authority.
list() { openssl ca -config "$work/$1.cnf" -gencrl -cert "$1.pem" -keyfile "$work/$1.key" \
    -crl_lastupdate 20200101000000Z -crl_nextupdate "${2:-21200101000000Z}" 2> /dev/null; }
list root > crls.pem
openssl ca -config "$work/issuing.cnf" -revoke revoked.pem -cert issuing.pem -keyfile "$work/issuing.key" 2> /dev/null
list issuing >> crls.pem
list issuing 20200102000000Z > stale-crl.pem
