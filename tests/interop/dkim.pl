# Mail::DKIM's verdict on the mail on standard input, or that mail's signature.
#   perl dkim.pl verify PORT                    asks the name server on that port of this machine
#   perl dkim.pl sign DOMAIN SELECTOR KEYFILE
use strict;
use warnings;
use Mail::DKIM::DNS;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Net::DNS::Resolver;

my $mode = shift @ARGV;
my $dkim;
if ($mode eq 'verify') {
    my ($port) = @ARGV;
    Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $port, recurse => 1));
    $dkim = Mail::DKIM::Verifier->new;
} else {
    my ($domain, $selector, $file) = @ARGV;
    $dkim = Mail::DKIM::Signer->new(
        Algorithm => 'rsa-sha256', Method => 'relaxed/relaxed', Domain => $domain, Selector => $selector, KeyFile => $file,
    );
}
binmode STDIN;
while (read STDIN, my $octets, 65536) { $dkim->PRINT($octets) }
$dkim->CLOSE;
print $mode eq 'verify' ? $dkim->result_detail . "\n" : $dkim->signature->as_string . "\n";
