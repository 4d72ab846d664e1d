package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/MicahParks/jwkset"
)

// jwkOf writes the public key as an issuer would, by hand.
func jwkOf(key Key) string {
	encode := base64.RawURLEncoding.EncodeToString
	switch public := key.Public.(type) {
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":%q,"x":%q}`, key.ID, encode(public))
	case *ecdsa.PublicKey:
		point := must(public.Bytes())[1:]
		return fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":%q,"x":%q,"y":%q}`, key.ID, encode(point[:32]), encode(point[32:]))
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"kty":"RSA","kid":%q,"n":%q,"e":%q}`, key.ID, encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes()))
	}
	panic("no public key")
}

func jwksOf(keys ...Key) string {
	list := make([]string, len(keys))
	for i, key := range keys {
		list[i] = jwkOf(key)
	}
	return setOf(list...)
}

func setOf(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// with adds a member to a JWK.
func with(jwk, member string) string { return strings.TrimSuffix(jwk, "}") + "," + member + "}" }

func TestJWKIsReadAsTheKeyItIs(t *testing.T) {
	f := func(jwk string, want Key) {
		t.Helper()
		key, err := parseJWK([]byte(jwk))
		if err != nil || !key.equal(&want) {
			t.Errorf("%s: got %v, %v", jwk, key, err)
		}
	}
	for _, key := range []Key{eddsaKey, ecdsaKey, rsaKey} {
		f(jwkOf(key), key)
	}
	f(with(jwkOf(ecdsaKey), `"alg":"ES256","use":"sig","key_ops":["verify"],"x5c":["AAAA"],"more":{"d":1}`), ecdsaKey)
	f(with(jwkOf(rsaKey), `"alg":"RS256"`), rsaKey)
	// RFC 7517 A.1 and RFC 8037 A.2: public keys published with the standards.
	f(`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"1"}`,
		Key{ID: "1", Algorithm: ES256, Public: must(ecdsa.ParseUncompressedPublicKey(elliptic.P256(), number("0430a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e"+"e04b65e92456d9888b52b379bdfbd51ee869ef1f0fc65b6659695b6cce081723").Bytes()))})
	f(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
		Key{Algorithm: EdDSA, Public: ed25519.PublicKey(number("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").Bytes())})
}

func number(hex string) *big.Int {
	n, _ := new(big.Int).SetString(hex, 16)
	return n
}

func TestJWKIsRefused(t *testing.T) {
	f := func(jwk, want string) {
		t.Helper()
		key, err := parseJWK([]byte(jwk))
		if err == nil || !strings.Contains(err.Error(), want) || key.Public != nil {
			t.Errorf("%s: got %v, %v; want an error about %q", jwk, key, err, want)
		}
	}
	ec, rs, ed := jwkOf(ecdsaKey), jwkOf(rsaKey), jwkOf(eddsaKey)
	other := errKeyOther.Error()
	for _, name := range privateMembers {
		f(with(ec, `"`+name+`":"AQ"`), "private member")
		f(with(rs, `"`+name+`":null`), "private member")
	}
	f(`{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}`, "private member")
	f(`{"kty":"oct","alg":"HS256"}`, other)
	f(with(ec, `"use":"enc"`), other)
	f(with(ec, `"use":""`), other)
	f(with(ec, `"use":7`), "use is not a string")
	f(with(ec, `"key_ops":["sign"]`), other)
	f(with(ec, `"key_ops":[]`), other)
	f(with(ec, `"key_ops":"verify"`), "key_ops")
	f(with(ec, `"alg":"ES384"`), other)
	f(with(ec, `"alg":"RS256"`), other)
	f(with(rs, `"alg":"HS256"`), other)
	f(with(rs, `"alg":"none"`), other)
	f(with(rs, `"alg":"RS512"`), other)
	f(with(ec, `"alg":null`), "alg is not a string")
	f(strings.Replace(ec, "P-256", "P-384", 1), other)
	f(strings.Replace(ec, "P-256", "secp256k1", 1), other)
	f(strings.Replace(ed, "Ed25519", "X25519", 1), other)
	f(strings.Replace(ec, `"kty"`, `"KTY"`, 1), other)
	f(strings.Replace(ec, `"y"`, `"Y"`, 1), "y is missing")
	f(strings.Replace(ec, `"x":"`, `"x":"AA`, 1), "x is not base64url")
	f(strings.Replace(ec, `"x":"`, `"x":"AAAA`, 1), "32 bytes each")
	f(strings.Replace(ec, `"x":"`, `"x":"\n`, 1), "x is not base64url")
	f(strings.Replace(ec, `"kid":"es"`, `"kid":7`, 1), "kid is not a string")
	f(strings.Replace(ec, `"es"`, `"`+strings.Repeat("k", 129)+`"`, 1), "kid is longer")
	f(`{"kty":"EC","crv":"P-256","x":"`+strings.Repeat("A", 43)+`","y":"`+strings.Repeat("A", 43)+`"}`, "not a point")
	f(`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, "32 bytes")
	f(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`, "this one has 17 bits")
	f(strings.Replace(rs, `"AQAB"`, `"Ag"`, 1), "exponent")
	f(strings.Replace(rs, `"AQAB"`, `"AQAAAAE"`, 1), "e is larger")
	f(strings.Replace(rs, `"AQAB"`, `"_____w"`, 1), "e is larger")
	f(strings.Replace(rs, `"AQAB"`, `"AQAB="`, 1), "e is not base64url")
	f(strings.Replace(rs, `"AQAB"`, `""`, 1), "e is missing")
	f(`null`, "not a JSON object")
	f(`[]`, "not a JSON object")
}

func TestJWKSTakesWhatItCanUse(t *testing.T) {
	f := func(set, wantIDs, wantNotes, wantErr string) {
		t.Helper()
		keys, notes, err := parseJWKS([]byte(set))
		ids := ""
		for _, key := range keys {
			ids += key.ID + " "
		}
		said := strings.Join(notes, "; ")
		if strings.TrimSpace(ids) != wantIDs || !strings.Contains(said, wantNotes) || (wantNotes == "") != (said == "") {
			t.Errorf("%.80s: got %q, notes %q; want %q, %q", set, ids, said, wantIDs, wantNotes)
		}
		if (wantErr == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%.80s: got %v, want %q", set, err, wantErr)
		}
	}
	nameless := func(key Key) string { key.ID = ""; return strings.Replace(jwkOf(key), `"kid":"",`, "", 1) }
	f(jwksOf(eddsaKey, ecdsaKey, rsaKey), "ed es rs", "", "")
	f(setOf(jwkOf(eddsaKey), with(jwkOf(ecdsaKey), `"use":"enc"`), `{"kty":"RSA","alg":"RSA-OAEP"}`, `{"kty":"new"}`), "ed", "", "")
	f(setOf(nameless(rsaKey)), "", "", "")
	f(setOf(nameless(rsaKey), jwkOf(eddsaKey)), "ed", "without kid", "")
	f(setOf(jwkOf(eddsaKey), with(jwkOf(ecdsaKey), `"d":"AQ"`)), "ed", `key 2 (kid "es"): the key has a private member`, "")
	f(setOf(with(jwkOf(ecdsaKey), `"d":"AQ"`)), "", `private member`, "")
	f(setOf(jwkOf(eddsaKey), jwkOf(Key{ID: "ed", Public: ecdsaKey.Public})), "ed", `key 2: an earlier key has the kid "ed"`, "")
	f(setOf(jwkOf(eddsaKey), `{"kty":"RSA","kid":"weak","n":"AQAB","e":"AQAB"}`, `7`), "ed", `kid "weak"): RS256 needs`, "")
	f(`{"keys":[]}`, "", "", "no key in it")
	f(setOf(`{"kty":"new"}`), "", "", "no key in it")
	f(setOf(strings.TrimSuffix(strings.Repeat("{},", jwksKeysMax+1), ",")), "", "", "at most 256")
	f(`{"keys":{}}`, "", "", "no list of keys")
	f(`{"Keys":[]}`, "", "", "no list of keys")
	f(`{}`, "", "", "no list of keys")
	f(`<html>`, "", "", "not a JSON object")
	f(jwksOf(eddsaKey)+"{}", "", "", "not a JSON object")
	f(``, "", "", "not a JSON object")
}

// FuzzJWKS holds every key that is believed against another implementation:
// what it reads must be the same key.
func FuzzJWKS(f *testing.F) {
	f.Add([]byte(jwksOf(eddsaKey, ecdsaKey, rsaKey)))
	f.Add([]byte(setOf(with(jwkOf(ecdsaKey), `"use":"enc"`), with(jwkOf(rsaKey), `"alg":"RS256","key_ops":["verify"]`))))
	f.Add([]byte(setOf(with(jwkOf(ecdsaKey), `"d":"AQ"`))))
	f.Add([]byte(`{"keys":[null,{},7,{"kty":"RSA","n":"AQAB","e":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := parseJWKS(data)
		if err != nil {
			if keys != nil {
				t.Fatalf("%v, and keys", err)
			}
			return
		}
		seen := map[string]bool{}
		for i := range keys {
			key := &keys[i]
			if err := key.validate(); err != nil || key.Algorithm == HS256 || seen[key.ID] {
				t.Fatalf("a key that can't be used: %+v, %v", key, err)
			}
			seen[key.ID] = true
			if twin, err := parseJWK([]byte(jwkOf(*key))); err != nil || !twin.equal(key) {
				t.Fatalf("%+v reads back as %+v, %v", key, twin, err)
			}
			var marshal jwkset.JWKMarshal
			if err := json.Unmarshal([]byte(jwkOf(*key)), &marshal); err != nil {
				t.Fatal(err)
			}
			oracle, err := jwkset.NewJWKFromMarshal(marshal, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
			if err != nil || !key.equal(&Key{ID: key.ID, Algorithm: key.Algorithm, Public: oracle.Key()}) {
				t.Fatalf("another implementation reads %s as %v, %v", jwkOf(*key), oracle.Key(), err)
			}
		}
	})
}

func TestJWKAgreesWithAnotherImplementation(t *testing.T) {
	for range 50 {
		ed, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, public := range []any{ed, &must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey, &modulusKey.PublicKey} {
			theirs := must(jwkset.NewJWKFromKey(public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "k"}})).Marshal()
			key, err := parseJWK(must(json.Marshal(theirs)))
			if err != nil || !key.equal(&Key{ID: "k", Algorithm: key.Algorithm, Public: public}) {
				t.Errorf("%+v: %v, %v", theirs, key, err)
			}
		}
	}
	secretly := jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: true}}
	for _, private := range []any{private, curveKey, modulusKey, secret} {
		theirs := must(jwkset.NewJWKFromKey(private, secretly)).Marshal()
		if key, err := parseJWK(must(json.Marshal(theirs))); !errors.Is(err, errKeyPrivate) {
			t.Errorf("a private key is taken: %v, %v", key, err)
		}
	}
}
