package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/url"
	"strings"
)

// routeParameter names the route key in an address: proxies balance by it.
const routeParameter = "rk"

// routed adds the route key to an address that has none.
func (cfg *Config) routed(address, token string) string {
	key := cfg.RouteKey
	if key == "" {
		key = routeKeyOf(token)
	}
	u, err := url.Parse(address)
	if err != nil || key == "" || u.Query().Has(routeParameter) {
		return address
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += routeParameter + "=" + url.QueryEscape(key)
	return u.String()
}

// routeKeyOf makes the route key of a token's user: 32 bits of FNV-1a of its
// subject, folded to 16. So few stand for no one user. "" for a token that names
// none; what it says is not verified, and needn't be.
func routeKeyOf(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, found := strings.Cut(rest, ".")
	if !found {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(b, &claims) != nil || claims.Subject == "" {
		return ""
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(claims.Subject))
	sum := h.Sum32()
	return fmt.Sprintf("%04x", sum>>16^sum&0xffff)
}
